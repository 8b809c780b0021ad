set -eu
find tree -name 'file*.txt' | wc -l
find tree -type f -size +2k | sort | head -3
grep -r --include='*.txt' -c 'deputy' tree | sort | awk -F: '{s += $2} END {print s}'
grep -rhoE '[0-9]+5$' tree | sort -n | tail -1
grep -rl 'freeze body' tree | sort | head -2 || true
find tree -name '*1.txt' -exec sed -n '3p' {} + | sort | uniq -c | sort -rn | head -3
find tree -name 'file01*.txt' -print0 | xargs -0 -P 2 -n 3 wc -l | awk '$2 != "total" {s += $1} END {print s}'
sed -E 's/([a-z]+) ([a-z]+)/\2 \1/; 2,4d; /page/!s/^/# /' tree/d00/file000.txt | head -8
sed -i 's/home/HOME/g' tree/d0*/*.txt
awk '{c[$1]++} END {for (w in c) print w, c[w]}' tree/*/*.txt | sort
awk 'BEGIN {while (("sort -rn tree/d00/file000.txt | head -2" | getline line) > 0) print "got", line; printf "%.6f\n", atan2(0, -1)}'
perl -ne '$h{$_}++ for /\b(\w{5,})\b/g; END {print "$_ $h{$_}\n" for sort keys %h}' tree/*/*.txt
perl -e 'for my $i (1..5) {my $p = fork; if (!$p) {exit $i} waitpid $p, 0; print $? >> 8, " "} print "\n"'
perl -e '$SIG{ALRM} = sub {die "alarm\n"}; eval {alarm 1; select undef, undef, undef, 10}; print $@; local $| = 1; open my $p, "-|", "echo from perl"; print <$p>'
perl -MPOSIX -e 'print POSIX::strftime("%Y-%m-%d", gmtime 86400), "\n"; my @a = map {$_ ** 2} 1..10; print "@a[7..9]\n"'
echo text done
