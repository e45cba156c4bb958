"""Following music: say what is played, or what one thinks of it; other sounds are not answered."""

from __future__ import annotations

from soundflow.operators.compose.clips import Candidates, Palette
from soundflow.operators.tasks.event_description import SoundPolicy
from soundflow.operators.tasks.policy import Answer, Casting, Sounding, about
from soundflow.schemas.scene import Brief
from soundflow.schemas.taxonomy import Task, is_music


class FollowingMusic(SoundPolicy):
    """A response of the sub-task's own to each piece of music once it has been heard."""

    task_rule = "the assistant speaks about every piece of music once it has been heard. Other sounds are not answered."

    def __init__(self, task: Task, response_rule: str) -> None:
        self.task, self.response_rule = task, response_rule  # type: ignore[misc]

    def needs(self, palette: Palette) -> dict[str, Candidates]:
        """Music."""
        return {"pieces of music": palette.of_kind("music")}

    def foreground(self, cast: Casting, turn: int, strict: bool) -> str | None:
        """Music or, with probability `distractor_share` and never first, another sound."""
        music = cast.palette.of_kind("music")
        if turn and cast.rng.random() < cast.scene.distractor_share:
            known = {clip.id for clip in music}
            other = cast.pick([clip for clip in cast.palette.sounds if clip.id not in known], strict=True)
            if other is not None:
                return other
        return cast.pick(music)

    def behind(self, brief: Brief, label: str) -> bool:
        """No music that nobody speaks about."""
        return not is_music(label)

    def suits(self, clip: Sounding, responds: bool) -> bool:
        """Music is answered, other sounds are not."""
        return bool(self.answers(clip)) == responds and clip.kind == "sound"

    def answers(self, clip: Sounding) -> list[Answer]:
        """About the music."""
        is_it = clip.kind == "sound" and is_music(clip.label, clip.caption)
        return about(f"response_{self.task.value}", clip) if is_it else []


MUSIC = (
    FollowingMusic(Task.MUSIC_OPEN_QA, "One sentence that says which instrument or kind of music was heard, and how."),
    FollowingMusic(Task.MUSIC_OPINION, "One or two sentences with an opinion of the music that names it and gives a reason."),
)
