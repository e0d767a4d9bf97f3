/// Why a vector or the bytes of sealed vectors were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    #[error("vector has dimension {got}, this bank's is {expected}")]
    WrongDimension { expected: usize, got: usize },
    #[error("dimension must be within 1..={limit}, not {got}")]
    DimensionLimit { limit: usize, got: usize },
    #[error("vector must be finite, but component {at} is {value}")]
    NotFinite { at: usize, value: f32 },
    #[error("vector must not be zero: it points nowhere")]
    Zero,
    #[error("vector must have norm 1, not {norm}")]
    NotUnit { norm: f64 },
    #[error("sealed vectors are damaged: {0}")]
    Damaged(String),
    #[error("graph over sealed vectors failed: {0}")]
    Graph(String),
}
