set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@d
export GIT_AUTHOR_DATE='2001-01-01T00:00:00Z' GIT_COMMITTER_DATE='2001-01-01T00:00:00Z'
git init -q -b main repo; mv tree repo/; cd repo
git add .; git commit -q -m first; git log --oneline
for i in 1 2 3; do echo "change $i" >> tree/d01/file001.txt; git commit -qam "change $i"; done
git checkout -q -b side HEAD~2; echo side > side.txt; git add side.txt; git commit -qm side; git checkout -q main
git merge -q -m merge side; git log --graph --format='%h %s'; git diff --stat HEAD~1; git status --short
git fsck --full --strict; git gc -q --prune=now; git count-objects -v | grep in-pack; git rev-parse HEAD^{tree}
git grep -c deputy -- tree/d02 | head -3; git blame -s tree/d01/file001.txt | tail -2
cd ..; git clone -q repo clone; git -C clone rev-parse HEAD; git -C clone fsck; git -C clone archive HEAD | sha256sum
echo git done
