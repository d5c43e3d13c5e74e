//! Stage 8: records and findings become text, NDJSON, JSON.
