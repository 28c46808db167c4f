//! The programs of this package as their users meet them.
