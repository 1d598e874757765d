// The same in double precision.
#include "ops/scattered_test.cpp"
