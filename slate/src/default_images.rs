//! Slate images for operators who have not set their own.
//!
//! They are drawn as SVG in `images/`, rendered by Chromium with the free DejaVu fonts, smoothed and reduced to 160
//! colours. Only the PNG is part of the binary.

/// Image for video that is at least as wide as high: 1920 × 1080, PNG.
pub const LANDSCAPE: &[u8] = include_bytes!("../images/landscape.png");
/// Image for video that is higher than wide: 1080 × 1920, PNG.
pub const PORTRAIT: &[u8] = include_bytes!("../images/portrait.png");

/// Returns the image that leaves the smaller bars in video of this size, [`LANDSCAPE`] or [`PORTRAIT`].
pub const fn for_shape(width: u32, height: u32) -> &'static [u8] {
    if height > width { PORTRAIT } else { LANDSCAPE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_small_and_have_the_documented_size() {
        for (image, width, height) in [(LANDSCAPE, 1_920_u32, 1_080_u32), (PORTRAIT, 1_080, 1_920)] {
            assert_eq!(image[..8], *b"\x89PNG\r\n\x1a\n");
            assert_eq!((&image[16..20], &image[20..24]), (&width.to_be_bytes()[..], &height.to_be_bytes()[..]));
            assert!(image.len() <= 80_000);
            assert_eq!(for_shape(width, height), image);
        }
        assert_eq!(for_shape(1_080, 1_080), LANDSCAPE);
    }
}
