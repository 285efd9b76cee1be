#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

// Before the target is set: what these define must run everywhere.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "cpu/residual_attention.h"

#pragma GCC target("arch=x86-64-v3")
#define PG_LEVEL avx2
#define PG_VECTOR_BYTES 32
#include "cpu/residual_attention_level.h"

#endif
