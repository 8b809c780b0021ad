# A repository whose index is fresh, and a change in it.
mkdir repo
cd repo
export GIT_COMMITTER_DATE=1600000000 GIT_AUTHOR_DATE=1600000000
git init -q -b main .
git config user.name someone
git config user.email someone@example.org
git config gc.auto 0
echo one > one
mkdir sub
echo two > sub/two
touch -d @1600000000 one sub/two
git add .
git commit -q -m first
echo more >> one
touch -d @1600000000 one
