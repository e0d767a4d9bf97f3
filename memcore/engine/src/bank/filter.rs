//! Which memories a query may find.

use crate::model::{Memory, SearchFilter};
use crate::time::EventTime;

/// A filter, parsed once.
pub(super) struct Passes<'a> {
    filter: &'a SearchFilter,
    from: Option<EventTime>,
    before: Option<EventTime>,
}

impl<'a> Passes<'a> {
    /// `None` for a filter that everything passes.
    pub fn new(filter: &'a SearchFilter) -> Option<Self> {
        if *filter == SearchFilter::default() {
            return None;
        }
        let from = EventTime::parse(&filter.event_time_from);
        let before = EventTime::parse(&filter.event_time_before);
        Some(Self { filter, from, before })
    }

    /// `source` is asked for the source of the chunk at a position.
    pub fn test<'b>(&self, memory: &Memory, source: impl FnOnce(u64) -> Option<&'b str>) -> bool {
        self.create_time(memory)
            && self.event_time(memory)
            && self.filter.metadata.iter().all(|(key, value)| memory.metadata.get(key) == Some(value))
            && self.source(memory, source)
    }

    fn create_time(&self, memory: &Memory) -> bool {
        let time = memory.create_time;
        self.filter.create_time_from.is_none_or(|from| from <= time)
            && self.filter.create_time_before.is_none_or(|before| time < before)
    }

    fn event_time(&self, memory: &Memory) -> bool {
        if self.from.is_none() && self.before.is_none() {
            return true;
        }
        let Some(time) = EventTime::parse(&memory.event_time) else {
            return false;
        };
        self.from.is_none_or(|from| !time.is_before(from))
            && self.before.is_none_or(|end| time.is_before(end))
    }

    fn source<'b>(&self, memory: &Memory, source: impl FnOnce(u64) -> Option<&'b str>) -> bool {
        let wanted = &self.filter.source;
        let position = memory.provenance.chunk.as_ref().map(|(_, position)| *position);
        wanted.is_empty() || position.and_then(source) == Some(wanted)
    }
}
