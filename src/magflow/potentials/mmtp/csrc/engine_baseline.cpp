#define MMTP_LANES 2
#define MMTP_ENGINE engine_baseline
#define MMTP_NAME "baseline"
#include "engine.inl"
