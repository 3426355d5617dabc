//! How Actions is used: HTTP, the command line and the library.
