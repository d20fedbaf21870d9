#define MMTP_LANES 4
#define MMTP_ENGINE engine_avx2
#define MMTP_NAME "avx2"
#include "engine.inl"
