"""Operations by family. ``*_torch`` modules hold the functions; their neighbours declare them and import no torch."""
