//! Owning a Linux process from outside.
