// The same in double precision.
#include "ops/sparse_linear_test.cpp"
