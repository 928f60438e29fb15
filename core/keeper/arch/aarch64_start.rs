//! aarch64: `_start` and the memory functions that the compiler may call. Only in the program.

use core::arch::global_asm;

global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x9, sp",
    "and sp, x9, #-16",
    "bl {main}",
    "brk #1",
    main = sym crate::main,
);

// In assembly, because the compiler turns a loop that copies bytes back into a call of memcpy.
global_asm!(
    ".globl memcpy",
    "memcpy:",
    "mov x3, x0",
    "1: cbz x2, 2f",
    "ldrb w4, [x1], #1",
    "strb w4, [x3], #1",
    "sub x2, x2, #1",
    "b 1b",
    "2: ret",
    ".globl memset",
    "memset:",
    "mov x3, x0",
    "3: cbz x2, 4f",
    "strb w1, [x3], #1",
    "sub x2, x2, #1",
    "b 3b",
    "4: ret",
);
