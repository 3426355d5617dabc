//! Hello, world: an engine in this process, a function, an event.

use actions::{Actions, Cx, library::Error};

#[derive(serde::Serialize, serde::Deserialize)]
struct User {
    email: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let actions = Actions::builder().sqlite("app.db").build().await?;
    actions
        .on("users.created", |cx: Cx, user: User| async move {
            cx.info(format!("welcome {}", user.email));
            Ok(())
        })
        .await?;
    actions.emit("users.created", &User { email: "user@example.com".into() }).await?;
    actions.run_until_idle().await?;
    Ok(())
}
