//! Reads lists whose filter the store does not know: page by page, up to a bound, with an
//! honest place to go on from.

/// Pages that one call reads at most.
const PAGES_MAX: u32 = 20;
/// Items of one page when each must be looked at.
const SCANNED_PAGE: u32 = 500;

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, Id> {
    pub items: Vec<T>,
    /// Everything older than this is still to be read. `None`: that was all.
    pub next: Option<Id>,
}

/// A list that is being read, newest first.
pub(crate) struct Scan<T, Id> {
    limit: usize,
    page: u32,
    pages_left: u32,
    before: Option<Id>,
    items: Vec<T>,
}

/// What to do after a page.
pub(crate) enum Step<T, Id> {
    Read(Scan<T, Id>),
    Done(Page<T, Id>),
}

impl<T, Id: Copy> Scan<T, Id> {
    /// Starts below `before`. A selective scan reads more than it keeps.
    pub(crate) fn new(limit: u32, before: Option<Id>, is_selective: bool) -> Self {
        let page = if is_selective { SCANNED_PAGE.max(limit) } else { limit.saturating_add(1) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, page, pages_left: PAGES_MAX, before, items: Vec::new() }
    }

    pub(crate) fn before(&self) -> Option<Id> {
        self.before
    }

    pub(crate) fn page(&self) -> u32 {
        self.page
    }

    /// Takes in what the store answered. `is_over` says that nothing older can pass.
    pub(crate) fn take(
        mut self,
        found: Vec<T>,
        id_of: impl Fn(&T) -> Id,
        is_over: impl Fn(&T) -> bool,
        keeps: impl Fn(&T) -> bool,
    ) -> Step<T, Id> {
        let was_last = found.len() < usize::try_from(self.page).unwrap_or(usize::MAX);
        for item in found {
            if is_over(&item) {
                return Step::Done(Page { items: self.items, next: None });
            }
            let id = id_of(&item);
            if keeps(&item) {
                if self.items.len() == self.limit {
                    let next = self.items.last().map(&id_of).or(self.before);
                    return Step::Done(Page { items: self.items, next });
                }
                self.items.push(item);
            }
            self.before = Some(id);
        }
        self.pages_left -= 1;
        if was_last {
            return Step::Done(Page { items: self.items, next: None });
        }
        if self.pages_left == 0 {
            let next = self.before;
            return Step::Done(Page { items: self.items, next });
        }
        Step::Read(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, Scan, Step};

    /// Lists the numbers from `from` down to 1 that `keeps`.
    fn list(from: i32, limit: u32, before: Option<i32>, keeps: fn(&i32) -> bool) -> Page<i32, i32> {
        let mut scan = Scan::new(limit, before, true);
        loop {
            let start = scan.before().map_or(from, |before| before - 1);
            let page = (1..=start).rev().take(scan.page() as usize).collect();
            match scan.take(page, |id| *id, |_| false, keeps) {
                Step::Read(next) => scan = next,
                Step::Done(page) => return page,
            }
        }
    }

    #[test]
    fn every_item_is_on_exactly_one_page() {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = list(5_000, 7, before, |id| id % 100 == 0);
            seen.extend(page.items);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=50).rev().map(|n| n * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_scan_ends_with_a_place_to_go_on_from() {
        let page = list(100_000, 7, None, |_| false);
        assert_eq!(page, Page { items: vec![], next: Some(90_001) });
        assert_eq!(list(3, 7, None, |_| true), Page { items: vec![3, 2, 1], next: None });
    }
}
