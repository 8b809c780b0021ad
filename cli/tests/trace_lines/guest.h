// What the guests share: calls are made for their traces, so most results are of no interest.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// A raw call with as many arguments as it has.
#define call(name, ...) syscall(SYS_##name, ##__VA_ARGS__)
// An address that nothing is mapped at.
#define BAD ((void *)0x1000)
