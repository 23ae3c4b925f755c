#pragma once

// The compiler makes a version for each instruction set and the loader picks one: a build also runs on an older machine. CMakeLists.txt
// gives files with such functions options of their own; what they give up (errno, traps) nobody looks at. Arithmetic is IEEE's, but a product
// and a sum are one operation where the processor has it, so last bits differ from one kind of processor to another. Other compilers make
// the version for the oldest processor alone.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define LACLIP_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LACLIP_VECTORISED
#endif
