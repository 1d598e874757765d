// The same in double precision.
#include "ops/tile_test.cpp"
