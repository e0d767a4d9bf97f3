"""One builder for each kind of material: rows of a reader become instances, in file order, as they come."""
