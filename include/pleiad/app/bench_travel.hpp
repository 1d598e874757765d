// pleiad bench exchange and overlap: what travels between ranks, by itself and while experts work.
#pragma once
#include "pleiad/app/bench_request.hpp"

namespace pleiad::app {

int bench_exchange(const comm::Communicator& world, const BenchRequest& request, BenchResults& results);
int bench_overlap(const comm::Communicator& world, const BenchRequest& request, BenchResults& results);

}  // namespace pleiad::app
