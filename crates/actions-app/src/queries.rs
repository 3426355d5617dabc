//! Everything that answers something. One file per resource; each function asks for permission.
