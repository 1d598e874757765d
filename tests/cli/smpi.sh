#!/usr/bin/env bash
# The real exchange on simulated ranks (SimGrid's SMPI): on 60 and 64 flat, in chunks, gather and hierarchical, on 256 hierarchical; forward and backward. Every row, weight and gradient that arrives or comes home has
# one right value, which tests/support/smpi_exchange.cpp knows without the exchange. On 60 ranks the last node is not full.
# PROCESSORS 2
# TIMEOUT 600
# shellcheck source=tests/cli/_common.sh
source "$PLEIAD_SOURCE/tests/cli/_common.sh"

if ! command -v smpicxx >/dev/null || ! command -v smpirun >/dev/null; then
    echo "skipped: SMPI is not here (Debian package libsimgrid-dev)"
    exit 77
fi

# The rooms that the exchange stands on, a few sources at once. SMPI puts itself in the place of MPI; malloc stays what it is, and what SMPI lacks the program brings.
flags=(-std=c++20 -O1 -fno-gnu-unique -ffp-contract=off -Wno-subobject-linkage "-I$PLEIAD_SOURCE/include" "-I$PLEIAD_SOURCE/src/exchange" -DFMT_HEADER_ONLY
    -DSMPI_NO_OVERRIDE_MALLOC -DMPI_Get_elements_x=pleiad_get_elements -Dsched_yield=pleiad_sched_yield)
for file in "$PLEIAD_SOURCE"/src/{core,comm,exchange}/*.cpp; do
    case $file in
        */hierarchical.cpp | */hierarchical_plan.cpp) ;; # names of their own that others have too
        *) printf '#include "%s"\n' "$file" ;;
    esac
done >rooms.cpp
sources=(rooms.cpp "$PLEIAD_SOURCE"/src/exchange/hierarchical{,_plan}.cpp "$PLEIAD_SOURCE/tests/support/smpi_exchange.cpp")
build() {
    local pids=() pid
    for source in "${sources[@]}"; do
        smpicxx "${flags[@]}" -c "$source" -o "$(basename "$source" .cpp).o" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || return 1; done
    smpicxx ./*.o -o exchange
}
check "the exchange for simulated ranks" build

# Nodes of 8 ranks, one switch between them. Collectives as SMPI can do them fast for many ranks.
simulated() { # RANKS WAYS
    local nodes=$((($1 + 7) / 8)) node
    cat >platform.xml <<END
<?xml version="1.0"?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1"><cluster id="nodes" prefix="n" suffix="" radical="0-$((nodes - 1))" speed="1Gf" bw="12.5GBps" lat="2us"/></platform>
END
    for ((node = 0; node < nodes; ++node)); do printf "n$node\n%.0s" {1..8}; done >hosts
    timeout 300 smpirun -np "$1" -platform platform.xml -hostfile hosts --cfg=smpi/privatization:dlopen --cfg=smpi/simulate-computation:no --log=root.thresh:error \
        --cfg=smpi/coll-selector:ompi --cfg=smpi/barrier:ompi_bruck --cfg=smpi/allreduce:rdb --cfg=smpi/alltoall:bruck --cfg=smpi/alltoallv:pair ./exchange "$2"
}
for ranks in 60 64 256; do
    ways=1234567
    if ((ranks == 256)); then ways=567; fi # SMPI searches its lists of messages from end to end, and flat ways have one for each pair of ranks: minutes
    check "$ranks simulated ranks" simulated $ranks $ways
    cp last_check.log said.txt
    cat said.txt
    check "... on $(((ranks + 7) / 8)) nodes, ways $ways of seven" says said.txt "^$ranks ranks on $(((ranks + 7) / 8)) nodes" '^hierarchical in 2 chunks +[0-9]+ numbers checked, 0 wrong'
done
finish
