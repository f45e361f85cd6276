//! A multi-version store: revisions, watch history, bookmarks, compaction. Knows no kinds.
