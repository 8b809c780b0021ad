//! Two lists of lines laid side by side, as diff(1) does it.

/// How many lines are in both in the same order, and those that are not, ours with `+`.
pub fn compare(ours: &[String], theirs: &[String]) -> (usize, Vec<String>) {
    let before = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let (left, right) = (&ours[before..], &theirs[before..]);
    let after = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&left[..left.len() - after], &right[..right.len() - after]);

    // common[i][j]: the longest common subsequence of left[i..] and right[j..].
    let width = right.len() + 1;
    let mut common = vec![0u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i * width + j] = if left[i] == right[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut different = Vec::new();
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == right.len()
            || i < left.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]
        {
            different.push(format!("+{}", left[i]));
            i += 1;
        } else {
            different.push(format!("-{}", right[j]));
            j += 1;
        }
    }
    (before + after + common[0] as usize, different)
}
