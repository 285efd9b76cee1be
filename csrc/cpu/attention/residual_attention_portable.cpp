#define PG_LEVEL portable
#define PG_VECTOR_BYTES 16
#include "cpu/attention/residual_attention_level.h"
