//! Every integration test of the native build, in one binary.
