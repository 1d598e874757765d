// The same in double precision.
#include "ops/top_k_test.cpp"
