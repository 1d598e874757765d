#!/usr/bin/env bash
# A private, real SLURM cluster on this machine for as long as one command runs: munged, slurmctld and a slurmd per node.
#
#   slurm_cluster.sh run FOLDER [-n NODES] [-c CPUS] [--plain] -- COMMAND...    exit code of COMMAND, 77 and a reason if it cannot be started
#   slurm_cluster.sh on NODE COMMAND...                                         for COMMAND above: runs something on a node
#
# As root the cluster lives in namespaces of its own: the controller and COMMAND are the login node, every node has its own network, host
# name, /dev/shm and scratch folder (the same path everywhere). All of it is one process namespace, so when the command ends, or is killed,
# the kernel ends everything and nothing else. Without namespaces (or with --plain) several slurmd of this host are told apart by port,
# scratch is one folder for all, and what was started is ended by its id.
#
# A node has CPUS cores (an even number) in two NUMA domains. COMMAND finds: SLURM_CONF, CLUSTER_KIND (namespaces or plain), CLUSTER_SCRATCH, CLUSTER_NODES.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

unavailable() { # REASON...: the cluster cannot be had here
    echo "skipped: $*"
    exit 77
}

# The process whose namespaces are the node.
node_process() { cat "$CLUSTER_FOLDER/run/node.$1.pid"; }

on_node() {
    local node=$1
    shift
    if [[ $CLUSTER_KIND == namespaces ]]; then
        exec nsenter --target "$(node_process "$node")" --net --uts --mount --wd="$PWD" -- "$@"
    fi
    exec "$@"
}

case ${1:-} in
    run) ;;
    on) shift; on_node "$@" ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
shift
: "${1:?folder}"
mkdir -p "$1"
folder=$(realpath "$1")
shift
nodes=2 cpus=2 kind=namespaces
while [[ ${1:-} != -- ]]; do
    case ${1:-} in
        -n) nodes=$2; shift 2 ;;
        -c) cpus=$2; shift 2 ;;
        --plain) kind=plain; shift ;;
        *) echo "slurm_cluster.sh: unknown argument ${1:-(none)}" >&2; exit 2 ;;
    esac
done
shift

for program in munged slurmctld slurmd sbatch squeue ip; do
    command -v "$program" >/dev/null || unavailable "there is no $program (Debian packages munge slurmctld slurmd slurm-client iproute2)"
done
if [[ $kind == namespaces && -z ${CLUSTER_INSIDE:-} ]]; then
    isolate=(unshare --net --uts --mount --pid --fork --kill-child --mount-proc)
    if [[ $(id -u) -eq 0 ]] && "${isolate[@]}" ip link add test0 type veth peer name test1 2>/dev/null; then
        # unshare ignores TERM; killed, it takes the first process of the namespace along, and with that all others.
        CLUSTER_INSIDE=1 setpriv --pdeathsig KILL "${isolate[@]}" bash "$0" run "$folder" -n "$nodes" -c "$cpus" -- "$@" <&0 &
        trap 'kill -KILL %1; exit 143' TERM INT HUP
        code=0
        wait %1 || code=$?
        exit "$code"
    fi
    kind=plain
fi
unset CLUSTER_INSIDE

# ---- folders, key, addresses ----
# The path of a socket has 107 bytes at most, so this one cannot lie in our folder.
if [[ $kind == namespaces ]]; then
    short=/run/munge
    mkdir -p "$short"
    mount -t tmpfs none "$short"  # in our namespace only
else
    short=$(mktemp -d /tmp/slurm.XXXXXX)
fi
mkdir -p "$folder"/{log,run,state,spool,local}
chmod 755 "$short" "$folder"
socket=$short/munge
head -c 128 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
names=()
for ((i = 1; i <= nodes; ++i)); do names+=("n$i"); done
list=$(IFS=,; echo "${names[*]}")
me=$(id -un)
if [[ $kind == namespaces ]]; then
    hostname login
    ip link set lo up
    ip link add cluster type bridge
    ip addr add 10.77.0.254/24 dev cluster
    ip link set cluster up
    controller="login(10.77.0.254)"
    ports=(6817)
    for ((i = 1; i <= nodes; ++i)); do ports+=(6818); done
    local_folder=$folder/local
else
    controller="$(hostname -s)(127.0.0.1)"
    mapfile -t ports < <(python3 - "$((nodes + 1))" <<'END'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
for s in sockets:
    print(s.getsockname()[1])
END
    )
    local_folder=$folder/local/%n
fi
# Ranks are really bound, so a node can only have cores that are there; all nodes share them. Each node is made to look as if it had two NUMA
# domains: hwloc believes this, which is what slurmd and mpirun ask.
taskset -c "0-$((cpus - 1))" true 2>/dev/null || unavailable "a node of $cpus cores needs the cores 0 to $((cpus - 1))"
export HWLOC_SYNTHETIC="pack:2 [numa] core:$((cpus / 2)) pu:1" HWLOC_THISSYSTEM=1

{
    cat <<END
ClusterName=private
SlurmctldHost=$controller
SlurmctldPort=${ports[0]}
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
CredType=cred/munge
# A job that is requeued waits as long as its credential is valid: 120 s if nothing is said.
AuthInfo=socket=$socket,cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
# For the PMIx folders of a node, named after job and step only: two nodes must not share it.
TmpFS=$local_folder
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobRequeue=1
MinJobAge=600
KillWait=10
ReturnToService=2
MaxArraySize=${CLUSTER_MAX_ARRAY:-1001}
PlugStackConfig=/dev/null
SlurmdParameters=config_overrides
END
    for ((i = 1; i <= nodes; ++i)); do
        where="NodeHostname=n$i NodeAddr=10.77.0.$i"
        if [[ $kind == plain ]]; then where="NodeHostname=$(hostname -s) NodeAddr=127.0.0.1"; fi
        echo "NodeName=n$i $where Port=${ports[i]} Sockets=2 CoresPerSocket=$((cpus / 2)) RealMemory=1000 State=UNKNOWN"
    done
    echo "PartitionName=main Nodes=$list Default=YES MaxTime=INFINITE State=UP"
    echo "PartitionName=other Nodes=$list MaxTime=INFINITE State=UP"
} >"$folder/slurm.conf"
printf 'CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\nCgroupAutomount=no\n' >"$folder/cgroup.conf"

# ---- daemons, all in the foreground of a job of this shell ----
export SLURM_CONF=$folder/slurm.conf
started=()
# shellcheck disable=SC2317  # called at the end
stop() {
    set +e
    if [[ $kind == plain ]]; then
        # Steps are not children of ours; SLURM itself ends them.
        scancel --user="$me" --signal=KILL --full 2>/dev/null
        scancel --user="$me" 2>/dev/null
        for ((i = 0; i < 50; ++i)); do
            [[ -n $(squeue --noheader 2>/dev/null) ]] || break
            sleep 0.2
        done
    fi
    ((${#started[@]})) && kill "${started[@]}" 2>/dev/null
    wait "${started[@]}" 2>/dev/null
    [[ $kind == namespaces ]] || rm -rf "$short"
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

munged --foreground --key-file="$folder/munge.key" --socket="$socket" --pid-file="$short/munged.pid" --log-file="$folder/log/munged.log" \
    --seed-file="$short/seed" --num-threads=2 >"$folder/log/munged.out" 2>&1 &
started+=($!)
for ((i = 0; i < 100; ++i)); do
    [[ -S $socket ]] && break
    sleep 0.05
done
[[ -S $socket ]] || unavailable "munged does not start: $(tail -n 1 "$folder/log/munged.out")"
slurmctld -D -c -f "$SLURM_CONF" >"$folder/log/slurmctld.out" 2>&1 &
started+=($!)

for ((i = 1; i <= nodes; ++i)); do
    mkdir -p "$folder/spool/n$i" "$folder/local/n$i"
    if [[ $kind == namespaces ]]; then
        # The shell waits for its end of the cable, then becomes the slurmd.
        # shellcheck disable=SC2016
        unshare --net --uts --mount bash -c '
            set -e
            hostname "$1"
            mount --make-rprivate /
            mount -t tmpfs none /dev/shm
            mount -t tmpfs none "$2/local"
            for ((wait = 0; wait < 200; ++wait)); do ip link show eth0 >/dev/null 2>&1 && break; sleep 0.02; done
            ip link set lo up
            ip addr add "$3/24" dev eth0
            ip link set eth0 up
            exec slurmd -D -f "$SLURM_CONF"' node "n$i" "$folder" "10.77.0.$i" >"$folder/log/slurmd.n$i.out" 2>&1 &
        node=$!
        # Until it has left our network namespace the cable would end here.
        for ((wait = 0; wait < 200; ++wait)); do
            [[ $(readlink "/proc/$node/ns/net") != "$(readlink /proc/$$/ns/net)" ]] && break
            sleep 0.02
        done
        ip link add "cable$i" type veth peer name eth0 netns "$node" || unavailable "no virtual network cable between two network namespaces"
        ip link set "cable$i" master cluster up
    else
        slurmd -D -f "$SLURM_CONF" -N "n$i" >"$folder/log/slurmd.n$i.out" 2>&1 &
        node=$!
    fi
    started+=("$node")
    echo "$node" >"$folder/run/node.n$i.pid"
done

# Until all answer, or slurmctld has ended. Asked a controller that is not there, sinfo takes its time.
ready=0
end=$((SECONDS + 30))
while ((ready < nodes && SECONDS < end)) && kill -0 "${started[1]}" 2>/dev/null; do
    ready=$(timeout 5 sinfo --noheader --Node --partition=main --format=%T 2>/dev/null | grep -cx idle || true)
    ((ready < nodes)) && sleep 0.1
done
if ((ready < nodes)); then
    tail -n 3 "$folder"/log/* >&2
    unavailable "only $ready of $nodes nodes of a private SLURM cluster came up; what the daemons say is in $folder/log"
fi
export CLUSTER_FOLDER=$folder CLUSTER_KIND=$kind CLUSTER_SCRATCH=$folder/local CLUSTER_NODES=$nodes
code=0
"$@" || code=$?
exit "$code"
