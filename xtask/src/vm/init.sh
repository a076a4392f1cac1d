#!/busybox sh
# The machine's first program: makes the root of the host's files and a tmpfs, and goes on in it.
b=/busybox
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    $b insmod "$module" || echo "insmod $module failed"
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 host /lower || $b poweroff -f
$b mount -t tmpfs -o size=75% upper /upper
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /root || $b poweroff -f
$b mkdir -p /root/awf-vm
$b cp /busybox /guest.sh /jobs.sh /root/awf-vm/
$b mount --move /dev /root/dev
exec $b switch_root /root /bin/bash /awf-vm/guest.sh
