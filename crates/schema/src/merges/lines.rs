//! Lists in SQL as a person would set them.

/// No line is longer, if a list can be broken.
const WIDTH: usize = 120;

/// A list on one line.
pub fn list(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| item.as_ref().to_owned())
        .collect();
    items.join(", ")
}

/// A list that begins in this column; the following lines do as well.
pub fn wrap(items: &[String], indent: usize) -> String {
    wrap_from(items, indent, indent)
}

/// A list that begins in one column and goes on in another.
pub fn wrap_from(items: &[String], first: usize, indent: usize) -> String {
    let mut text = String::new();
    let mut column = first;
    for (number, item) in items.iter().enumerate() {
        let last = number + 1 == items.len();
        let length = item.chars().count() + usize::from(!last);
        if number > 0 {
            if column + 1 + length > WIDTH {
                text.push('\n');
                text.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                text.push(' ');
                column += 1;
            }
        }
        text.push_str(item);
        if !last {
            text.push(',');
        }
        column += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_broken_before_the_line_is_full() {
        let items: Vec<_> = (0..40).map(|number| format!("column_{number}")).collect();
        let text = wrap_from(&items, 30, 7);
        let first = text.lines().next().unwrap_or("").len() + 30;
        assert!(first <= WIDTH && first > WIDTH - 12, "{text}");
        assert!(text.lines().skip(1).all(|line| line.len() <= WIDTH));
        assert!(
            text.lines()
                .skip(1)
                .all(|line| line.starts_with("       column"))
        );
        let bare = text.replace("\n      ", "");
        assert_eq!(bare, list(&items));
    }
}
