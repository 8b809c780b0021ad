set -eu
sqlite3 db <<'SQL'
create table t(a integer primary key, b text);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) insert into t select x, printf('row-%05d', x) from c;
create index i on t(b);
begin; delete from t where a % 3 = 0; rollback;
select count(*), max(b) from t;
select sum(a) from t where b like '%7';
vacuum;
pragma integrity_check;
SQL
for i in 1 2 3 4; do sqlite3 -cmd '.timeout 20000' db "insert into t(b) values ('parallel')" & done; wait
sqlite3 db "select count(*) from t where b = 'parallel'"
sqlite3 db .dump | sha256sum; rm db
echo sqlite done
