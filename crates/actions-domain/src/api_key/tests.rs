use proptest::prelude::*;

use super::{TOKEN_LENGTH, TOKEN_RANDOM_BYTES, Token, TokenError, base62, crc32};

fn random() -> impl Strategy<Value = [u8; TOKEN_RANDOM_BYTES]> {
    prop::array::uniform32(any::<u8>()).prop_flat_map(|secret| {
        prop::array::uniform8(any::<u8>()).prop_map(move |lookup| {
            let mut all = [0; TOKEN_RANDOM_BYTES];
            all[..8].copy_from_slice(&lookup);
            all[8..].copy_from_slice(&secret);
            all
        })
    })
}

#[test]
fn a_token_has_one_form() {
    let token = Token::mint(&[7; TOKEN_RANDOM_BYTES]);
    let text = token.expose();
    assert_eq!(text.len(), 64);
    assert!(text.starts_with("act_"));
    assert_eq!(Token::parse(text), Ok(token.clone()));
    assert_eq!(format!("{token:?}"), format!("Token({}…)", &text[..15]));
    assert_eq!(token.lookup().beginning(), text[..15]);
}

#[test]
fn the_checksum_is_the_one_that_everybody_computes() {
    // The check value of the catalogue of CRC algorithms.
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    assert_eq!(base62(&u32::MAX.to_be_bytes(), 6), "4gfFC3");
    assert_eq!(base62(&[0; 4], 6), "000000");
    assert_eq!(base62(&[0xFF; 32], 43).len(), 43);
}

#[test]
fn what_is_wrong_is_told_apart() {
    let token = Token::mint(&[1; TOKEN_RANDOM_BYTES]);
    let text = token.expose();
    let swapped = if text.ends_with('0') { '1' } else { '0' };
    let cases = [
        (String::new(), TokenError::Prefix),
        (text.replace("act_", "acT_"), TokenError::Prefix),
        (text[..40].to_owned(), TokenError::Length { length: 40 }),
        (format!("{text}x"), TokenError::Length { length: TOKEN_LENGTH + 1 }),
        (format!("{}-", &text[..63]), TokenError::Character),
        (format!("{}ä", &text[..62]), TokenError::Character),
        (format!("{}{swapped}", &text[..63]), TokenError::Checksum),
    ];
    for (raw, expected) in cases {
        assert_eq!(Token::parse(&raw), Err(expected), "{raw}");
    }
}

proptest! {
    #[test]
    fn what_was_minted_is_read_back(random in random()) {
        let token = Token::mint(&random);
        let read = Token::parse(token.expose());
        prop_assert_eq!(read.as_ref().map(Token::stored), Ok(token.stored()));
    }

    #[test]
    fn other_random_bytes_make_another_token(one in random(), other in random()) {
        prop_assume!(one != other);
        prop_assert_ne!(Token::mint(&one), Token::mint(&other));
    }

    #[test]
    fn nothing_that_was_not_minted_is_read(raw in "\\PC{0,80}") {
        prop_assert!(Token::parse(&raw).is_err());
    }

    #[test]
    fn nothing_of_the_right_form_is_read_without_its_checksum(raw in "act_[0-9A-Za-z]{60}") {
        // One of four thousand million would be.
        prop_assert_eq!(Token::parse(&raw), Err(TokenError::Checksum));
    }

    #[test]
    fn a_wrong_character_is_noticed(random in random(), at in 0_usize..64, wrong in "[0-9A-Za-z_]") {
        let token = Token::mint(&random);
        let mut text = token.expose().to_owned();
        prop_assume!(!text[at..].starts_with(&wrong));
        text.replace_range(at..=at, &wrong);
        prop_assert!(Token::parse(&text).is_err());
    }

    #[test]
    fn two_swapped_characters_are_noticed(random in random(), at in 0_usize..63) {
        let token = Token::mint(&random);
        let mut bytes = token.expose().as_bytes().to_vec();
        prop_assume!(bytes[at] != bytes[at + 1]);
        bytes.swap(at, at + 1);
        prop_assert!(Token::parse(std::str::from_utf8(&bytes).unwrap()).is_err());
    }

    #[test]
    fn a_part_is_no_token(random in random(), length in 0_usize..64) {
        let token = Token::mint(&random);
        prop_assert!(Token::parse(&token.expose()[..length]).is_err());
        prop_assert!(Token::parse(&token.expose()[length + 1..]).is_err());
    }
}
