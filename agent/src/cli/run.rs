//! Has a command carried out, by the running agent or here, shows how it goes, and lets Ctrl-C cut
//! it short.

use homeport_sync::codes::ResultCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Stopped;
use super::progress::Teller;
use super::service::open;
use crate::cli::exit::Exit;
use crate::control::{self, Answer, Command};
use crate::execute::Follower;
use crate::perform::perform;
use crate::settings::Settings;
use crate::state::CONTROL;

/// Carries a command out. The first Ctrl-C (or SIGTERM) lets a turn end at the next item, the second one at once.
pub(super) async fn run(
    command: Command,
    settings: Settings,
    teller: &mut Teller,
) -> Result<Answer, Stopped> {
    let (cancel, cancelled) = watch::channel(false);
    let can_be_cut = matches!(command, Command::Turn { .. });
    let answer = tokio::select! {
        answer = carry_out(command, settings, teller, cancelled) => answer,
        () = interrupted(&cancel), if can_be_cut => {
            teller.end(ResultCode::Cancelled, 0);
            let hint = "what is in step stays in step; the next run does the rest";
            return Err(Stopped::new("stopped at once", hint, Exit::Failed));
        }
    };
    let mut answer = answer.inspect_err(|_| teller.end(ResultCode::InternalError, 0))?;
    if *cancel.borrow() {
        answer.code = Some(ResultCode::Cancelled);
        answer.text.push_str(&format!("{}\n", ResultCode::Cancelled));
        answer.failed = answer.failed.max(1);
    }
    let failed = answer.error.as_ref().map(|_| ResultCode::InternalError);
    teller.end(answer.code.or(failed).unwrap_or(ResultCode::Ok), answer.bytes);
    Ok(answer)
}

/// Cuts short at the first signal, and returns at the second.
async fn interrupted(cancel: &watch::Sender<bool>) {
    let Ok(mut ended) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    for _ in 0..2 {
        let heard = tokio::select! {
            heard = tokio::signal::ctrl_c() => heard.is_ok(),
            heard = ended.recv() => heard.is_some(),
        };
        if !heard {
            std::future::pending::<()>().await;
        }
        if cancel.send_replace(true) {
            return;
        }
    }
}

async fn carry_out(
    command: Command,
    settings: Settings,
    teller: &mut Teller,
    mut cancelled: watch::Receiver<bool>,
) -> Result<Answer, Stopped> {
    let (socket, follow) = (settings.state_dir.join(CONTROL), teller.listens());
    let mut hear = |progress| teller.hear(progress);
    let sent = control::send(&socket, &command, &mut hear, follow, &mut cancelled).await;
    if let Some(answer) = sent.map_err(|error| Stopped::environment(&error))? {
        return Ok(answer);
    }
    let mut agent = open(settings)?;
    let (follower, mut heard) = Follower::cut_by(cancelled);
    agent.follower = if follow { follower } else { follower.deaf() };
    let mut performing = std::pin::pin!(perform(&mut agent, command));
    let answer = loop {
        tokio::select! {
            answer = &mut performing => break answer,
            Some(progress) = heard.recv() => teller.hear(progress),
        }
    };
    while let Ok(progress) = heard.try_recv() {
        teller.hear(progress);
    }
    Ok(answer)
}
