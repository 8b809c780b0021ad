set -eu
seq 1 20000 | sort -rn | head -5 | paste -sd,
seq 1 100000 | awk '{s += $1} END {print s}'
yes mosix | head -c 1000000 | wc -c
seq 1 5000 | shuf --random-source=<(yes) | sort -n | md5sum
printf 'b 2\na 1\nc 3\n' | sort | tee sorted | cut -d' ' -f2 | tr '\n' ' '; echo
join <(sort sorted) <(printf 'a x\nb y\n')
head -c 300000 /dev/zero | tr '\0' 'x' | fold -w 80 | nl | tail -1
seq 1 1000 | split -l 100 - part.
cat part.* | sha256sum
ls part.* | wc -l
cp -a sorted copy; ln -s copy link; mv part.aa renamed; rm part.a[b-e]
mkdir -p d/e/f; touch -d '2001-02-03 04:05:06 UTC' d/e/f/file; stat -c '%n %Y %a %s' d/e/f/file
du -a d | wc -l; find . -type l -printf '%p -> %l\n'
dd if=/dev/zero of=zeros bs=64k count=50 status=none; cksum zeros
truncate -s 10M hole; stat -c %s hole; cmp zeros <(head -c $((50 * 65536)) /dev/zero) && echo equal
comm -12 <(seq 1 10) <(seq 5 20 | sort) | wc -l
date -u -d @1000000000 +%FT%TZ; printf '%05d|%-8s|%x\n' 42 word 255
echo 12345678901234567890 | od -c | head -2; basename /a/b/c.txt .txt; dirname /a/b/c
env -i A=1 B=2 env | sort; timeout 0.2 sleep 20 || echo "timeout says $?"
expr 6 \* 7; factor 600851475143; numfmt --to=iec 123456789; base64 sorted | base64 -d | diff - sorted
seq 10 | xargs -P 4 -n 1 echo | sort -n | paste -sd' '
cat missing || echo "cat says $?"
echo coreutils done
