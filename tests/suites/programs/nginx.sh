# nginx with two workers under a load client; reload, and a graceful end.
# packages: nginx-light wrk curl
source "${0%/*}/checks.bash"
port=$(free_port); mkdir -p www logs
seq 1 20000 > www/big; echo hello > www/small
((EUID != 0)) || { chmod 755 . www; user="user root;"; }
cat > nginx.conf <<END
${user-}
worker_processes 2; daemon off; pid $PWD/pid; error_log $PWD/logs/error;
events { worker_connections 128; }
http {
    access_log $PWD/logs/access; client_body_temp_path $PWD/b; proxy_temp_path $PWD/p; fastcgi_temp_path $PWD/f; uwsgi_temp_path $PWD/u; scgi_temp_path $PWD/s;
    sendfile on; gzip on; gzip_min_length 10; gzip_types *;
    server { listen 127.0.0.1:$port; root $PWD/www; location /echo { return 200 "echo \$request_uri"; } location /proxy/ { proxy_pass http://127.0.0.1:$port/; } }
}
END
nginx -e logs/error -p "$PWD" -c nginx.conf > out.txt 2>&1 & server=$!
url=http://127.0.0.1:$port
until_holds curl -sf $url/small && ok "it starts" || { fail "it starts" "$(tail -n 2 logs/error)"; exit 1; }
same "a small file" hello "$(curl -s $url/small)"
same "a big file" "$(md5sum < www/big)" "$(curl -s $url/big | md5sum)"
same "gzip" "$(md5sum < www/big)" "$(curl -s --compressed $url/big | md5sum)"
same "a range" "1
2" "$(curl -s -r 0-2 $url/big)"
same "a proxy" "$(md5sum < www/big)" "$(curl -s $url/proxy/big | md5sum)"
same "not found" 404 "$(curl -s -o none -w '%{http_code}' $url/none)"
wrk -t 1 -c 8 -d 2s $url/small > wrk.txt 2>&1; between "requests" 1 10000000 "$(sed -n 's/ *\([0-9]*\) requests in.*/\1/p' wrk.txt)"
same "errors" 0 "$(grep -c -e 'Non-2xx' -e 'Socket errors' wrk.txt)"
for i in {1..20}; do curl -s -o got.$i $url/big & gets[i]=$!; done
bad=0; for i in {1..20}; do wait ${gets[i]} && cmp -s got.$i www/big || ((bad++)); done; same "twenty at once" 0 $bad
echo again > www/small; kill -HUP $server; same "after a reload" again "$(sleep 0.5; curl -s $url/small)"
kill -USR1 $server; ok "reopens its logs"
kill -QUIT $server; wait $server; same "it ends" 0 $?
exit 0
