"""Following music: describe each piece of music, or give an opinion of it. Other sounds get no response."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import ClipLike, ClipSelection, ResponseOption, respond_with_description
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, is_music


class FollowingMusic(SoundPolicy):
    """One response to each piece of music, from the sub-task's own template."""

    task_rule = "the assistant speaks about every piece of music once it has been heard. Other sounds are not answered."

    def __init__(self, task: Task, summary: str, response_rule: str) -> None:
        self.task, self.summary, self.response_rule = task, summary, response_rule

    def required_clips(self, palette: Palette) -> dict[str, Candidates]:
        """Return the pieces of music."""
        return {"pieces of music": palette.of_kind("music")}

    def choose_foreground(self, selection: ClipSelection, index: int, optional: bool) -> str | None:
        """Pick music or, with probability `distractor_share` and never first, another sound."""
        music = selection.palette.of_kind("music")
        if index and selection.rng.random() < selection.scene.distractor_share:
            music_ids = {clip.id for clip in music}
            distractor = selection.pick([clip for clip in selection.palette.sounds if clip.id not in music_ids], strict=True)
            if distractor is not None:
                return distractor
        return selection.pick(music)

    def can_play_in_background(self, brief: Brief, label: str) -> bool:
        """Exclude music."""
        return not is_music(label)

    def can_play(self, clip: ClipLike, responds: bool) -> bool:
        """Accept music for events with a response and other sounds for those without."""
        return bool(self.respond_to_clip(clip)) == responds and clip.kind == "sound"

    def respond_to_clip(self, clip: ClipLike) -> list[ResponseOption]:
        """Describe music."""
        is_piece = clip.kind == "sound" and is_music(clip.label, clip.caption)
        return respond_with_description(f"response_{self.task.value}", clip) if is_piece else []


MUSIC_POLICIES = (
    FollowingMusic(
        Task.MUSIC_OPEN_QA,
        "Name the music that plays.",
        "One sentence that says which instrument or kind of music was heard, and how.",
    ),
    FollowingMusic(
        Task.MUSIC_OPINION,
        "Give an opinion about the music that plays.",
        "One or two sentences with an opinion of the music that names it and gives a reason.",
    ),
)
