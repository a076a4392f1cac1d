# Process 1 of the machine: what an init would do, then the jobs, then off. /dev/ttyS1 is what the host reads.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TMPDIR=/tmp
export RUST_BACKTRACE=1
failed=0

# The token is this machine's own, so that what a test prints is not taken for ours.
say() { echo "$token $*"; }

# Usage: run NAME DIRECTORY COMMAND...
run() {
    echo "==> $1, on Linux $(uname -r)"
    cd "$2" && shift 2 && "$@" || failed=$?
}

# One that is under a directory covered here is not there.
place() { mkdir -p "${1%/*}" && touch -a "$1"; }

# A directory of the host's that must stay in sight when a tmpfs covers what is above it.
keep() { mkdir -p "/awf-vm/kept/$1" && mount --bind "$1" "/awf-vm/kept/$1"; }
put_back() { mkdir -p "$1" && mount --move "/awf-vm/kept/$1" "$1"; }

. /awf-vm/jobs.sh

stty -F /dev/ttyS1 raw
exec </dev/null >/dev/ttyS1 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs security /sys/kernel/security
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
ln -s /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${n%:*}" "/dev/${n#*:}"; done

for dir in "${directories[@]}"; do keep "$dir"; done
for dir in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmpfs "$dir"; done
for dir in "${directories[@]}"; do put_back "$dir"; done
chmod 755 /run

version=$(uname -r)
mkdir -p "/lib/modules/$version"
mount --bind "$modules" "/lib/modules/$version"
# A link into the host's /run leads nowhere here.
[ -e /etc/resolv.conf ] || { rm -f /etc/resolv.conf && : >/etc/resolv.conf; }
ip link set lo up
# Refusals of seccomp's are logged by the thousand, and a serial line is slow.
echo 2 >/proc/sys/kernel/printk

copies
say up
jobs_to_do
say exit "$failed"
exec /awf-vm/busybox poweroff -f
