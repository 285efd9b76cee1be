// Before the target is set: what these headers define must run everywhere.
#include "cpu/attention/residual_attention.h"

#ifdef PG_ATTENTION_X86

#include <immintrin.h>

#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v3")
#define PG_LEVEL avx2
#define PG_VECTOR_BYTES 32
#include "cpu/attention/residual_attention_level.h"

#endif
