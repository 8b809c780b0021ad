set -eu
options="--sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rwX,go=rX"
tar $options -cf all.tar tree; sha256sum all.tar
gzip -9nk all.tar; sha256sum all.tar.gz
xz -T2 -k all.tar; xz -t all.tar.xz; xz -l all.tar.xz | awk 'NR == 2 {print $1}'
xz -dc all.tar.xz | cmp - all.tar
mkdir out; tar -xzf all.tar.gz -C out; diff -r tree out/tree
tar $options -czf - tree | tar -tzf - | wc -l
tar $options --use-compress-program='xz -T2 -0' -cf fast.tar.xz tree; tar -xJOf fast.tar.xz | sha256sum
split -b 20000 all.tar.gz chunk.; cat chunk.* | gzip -dc | cmp - all.tar; rm chunk.* all.tar.xz fast.tar.xz
zcat all.tar.gz | wc -c; rm -r out
echo archives done
