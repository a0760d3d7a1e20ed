//! End-to-end, conformance, property and crash tests.
