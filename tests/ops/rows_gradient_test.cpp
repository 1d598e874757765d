// The same in double precision.
#include "ops/rows_test.cpp"
