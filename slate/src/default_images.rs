//! The slates that are shown where an operator has none of his own.
//!
//! They are drawn as SVG in `pictures/`, rendered by Chromium with the free DejaVu fonts, smoothed and reduced to 160
//! colours; only the PNG is part of the binary.

/// For pictures that are at least as wide as high: 1920 × 1080, PNG.
pub const LANDSCAPE: &[u8] = include_bytes!("../pictures/landscape.png");
/// For pictures that are higher than wide: 1080 × 1920, PNG.
pub const PORTRAIT: &[u8] = include_bytes!("../pictures/portrait.png");

/// The slate that leaves the smaller bars in a picture of this size.
pub const fn for_shape(width: u32, height: u32) -> &'static [u8] {
    if height > width { PORTRAIT } else { LANDSCAPE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_small_and_of_the_size_they_say() {
        for (picture, width, height) in [(LANDSCAPE, 1_920_u32, 1_080_u32), (PORTRAIT, 1_080, 1_920)] {
            assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
            assert_eq!((&picture[16..20], &picture[20..24]), (&width.to_be_bytes()[..], &height.to_be_bytes()[..]));
            assert!(picture.len() <= 80_000);
            assert_eq!(for_shape(width, height), picture);
        }
        assert_eq!(for_shape(1_080, 1_080), LANDSCAPE);
    }
}
