//! Every x86-64 Linux system call, described once.
