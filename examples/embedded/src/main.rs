//! Places one order and shows what came of it.

use std::io::Write;
use std::path::Path;

use actions::library::Error;
use embedded::Shop;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let shop = Shop::open(Path::new("shop.db")).await?;
    let answer = shop.place("ada@example.com", 42.0).await?;
    writeln!(std::io::stdout(), "{answer}")?;
    shop.actions.stop().await?;
    Ok(())
}
