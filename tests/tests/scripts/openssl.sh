set -eu
for d in md5 sha1 sha256 sha512 sha3-256 blake2b512; do openssl dgst -$d random; done
openssl enc -aes-256-ctr -K $(printf '0%.0s' {1..64}) -iv $(printf '1%.0s' {1..32}) -in random | openssl dgst -sha256
openssl dgst -sha256 -hmac key random
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
openssl pkey -in key.pem -pubout -out pub.pem
head -c 1000 random > small
openssl pkeyutl -sign -rawin -inkey key.pem -in small -out sig
openssl pkeyutl -verify -rawin -pubin -inkey pub.pem -in small -sigfile sig
head -c 100000 random | openssl base64 | openssl base64 -d | cmp - <(head -c 100000 random) && echo base64
rm key.pem pub.pem sig
echo openssl done
