//! Hello, world: an engine in this process, a function, an event.

use actions::{Actions, Cx, library::Error};

#[derive(serde::Serialize, serde::Deserialize)]
struct User {
    email: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let actions = Actions::builder().sqlite("app.db").build().await?;
    let greet = async |_cx: Cx, user: User| Ok(format!("welcome {}", user.email));
    actions.on("users.created", greet).await?;
    actions.emit("users.created", &User { email: "user@example.com".into() }).await?;
    actions.run_until_idle().await?;
    Ok(())
}
