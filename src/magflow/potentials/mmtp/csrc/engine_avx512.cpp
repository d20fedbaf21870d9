#define MMTP_LANES 8
#define MMTP_ENGINE engine_avx512
#define MMTP_NAME "avx512"
#include "engine.inl"
