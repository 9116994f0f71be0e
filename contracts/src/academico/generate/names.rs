//! Names of people and subjects.

use crate::generate::SeededRng;

#[rustfmt::skip]
const WOMEN: [&str; 48] = [
    "María", "Guadalupe", "Ana", "Sofía", "Valentina", "Camila", "Ximena", "Regina", "Fernanda",
    "Daniela", "Andrea", "Paola", "Lucía", "Elena", "Carmen", "Rosa", "Verónica", "Adriana",
    "Gabriela", "Alejandra", "Natalia", "Isabel", "Beatriz", "Inés", "Begoña", "Itzel", "Citlali",
    "Nayeli", "Renata", "Mónica", "Patricia", "Laura", "Claudia", "Silvia", "Teresa", "Rocío",
    "Marisol", "Belén", "Julia", "Victoria", "Ángela", "Jimena", "Mariana", "Leticia", "Yolanda",
    "Esther", "Araceli", "Noemí",
];

#[rustfmt::skip]
const MEN: [&str; 48] = [
    "José", "Juan", "Luis", "Carlos", "Miguel", "Jorge", "Santiago", "Mateo", "Sebastián",
    "Leonardo", "Emiliano", "Diego", "Daniel", "Alejandro", "Fernando", "Ricardo", "Eduardo",
    "Héctor", "Raúl", "Óscar", "Andrés", "Iván", "Ángel", "Tomás", "Gabriel", "Rafael", "Manuel",
    "Francisco", "Javier", "Sergio", "Arturo", "Ramón", "Víctor", "Hugo", "Adrián", "Rodrigo",
    "Martín", "Joaquín", "Nicolás", "Gonzalo", "Ignacio", "Pablo", "Enrique", "Alberto", "César",
    "Julián", "Cuauhtémoc", "Saúl",
];

#[rustfmt::skip]
const SURNAMES: [&str; 96] = [
    "Hernández", "García", "Martínez", "López", "González", "Pérez", "Rodríguez", "Sánchez",
    "Ramírez", "Cruz", "Flores", "Gómez", "Morales", "Vázquez", "Reyes", "Jiménez", "Torres",
    "Díaz", "Gutiérrez", "Ruiz", "Mendoza", "Aguilar", "Ortiz", "Moreno", "Castillo", "Romero",
    "Álvarez", "Méndez", "Chávez", "Rivera", "Juárez", "Ramos", "Domínguez", "Herrera", "Medina",
    "Castro", "Vargas", "Guzmán", "Velázquez", "Rojas", "Muñoz", "Contreras", "Salazar", "Luna",
    "Ortega", "Guerrero", "Núñez", "Bautista", "Estrada", "Cortés", "Soto", "Alvarado", "Lara",
    "Ávila", "Ríos", "Delgado", "Sandoval", "Cervantes", "Silva", "Santiago", "Espinoza",
    "Carrillo", "Fuentes", "Campos", "Vega", "León", "Valdez", "Ibarra", "Navarro", "Acosta",
    "Camacho", "Pacheco", "Miranda", "Robles", "Salinas", "Rosales", "Solís", "Cárdenas", "Mejía",
    "Serrano", "Peña", "Montes", "Orozco", "Zamora", "Trujillo", "Molina", "Santos", "Ochoa",
    "Güemes", "Ibáñez", "Íñiguez", "Quiñones", "Zúñiga", "de la Cruz", "del Ángel", "de León",
];

/// A full name: one or two given names, two surnames.
pub(super) fn person(woman: bool, rng: &mut SeededRng) -> String {
    let given = if woman { &WOMEN } else { &MEN };
    let mut name = rng.pick(given).to_owned();
    if rng.percent(35) {
        let second = rng.pick(given);
        if second != name {
            name.push(' ');
            name.push_str(second);
        }
    }
    for _ in 0..2 {
        name.push(' ');
        name.push_str(rng.pick(&SURNAMES));
    }
    name
}

/// Fields of teaching.
#[rustfmt::skip]
pub(super) const AREAS: [&str; 10] = [
    "Matemáticas", "Física", "Química", "Biología", "Computación",
    "Historia", "Letras", "Economía", "Derecho", "Filosofía",
];

/// Subjects: those of [`AREAS`] in turn, so that the first ten cover all of them.
#[rustfmt::skip]
const SUBJECTS: [&str; 60] = [
    "Álgebra lineal", "Mecánica clásica", "Química general", "Biología celular",
    "Programación", "Historia de México", "Redacción", "Microeconomía",
    "Introducción al derecho", "Lógica", //
    "Cálculo diferencial", "Electromagnetismo", "Química orgánica", "Genética",
    "Estructuras de datos", "Historia universal", "Literatura española", "Macroeconomía",
    "Derecho constitucional", "Ética", //
    "Cálculo integral", "Termodinámica", "Química inorgánica", "Ecología",
    "Bases de datos", "Historia de América Latina", "Literatura mexicana", "Econometría",
    "Derecho civil", "Filosofía antigua", //
    "Ecuaciones diferenciales", "Óptica", "Fisicoquímica", "Botánica",
    "Sistemas operativos", "Historiografía", "Lingüística general", "Contabilidad",
    "Derecho penal", "Epistemología", //
    "Probabilidad y estadística", "Física moderna", "Química analítica", "Zoología",
    "Redes de computadoras", "Arqueología", "Teoría literaria", "Finanzas públicas",
    "Derecho mercantil", "Estética", //
    "Geometría analítica", "Mecánica cuántica", "Bioquímica", "Evolución",
    "Ingeniería de software", "Paleografía", "Semiótica", "Comercio internacional",
    "Derecho laboral", "Filosofía política",
];

/// The name of the subject with this index; beyond the list with a number behind it.
pub(super) fn subject(index: usize) -> String {
    let name = SUBJECTS[index % SUBJECTS.len()];
    match index / SUBJECTS.len() {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    }
}

/// The area of the subject with this index.
pub(super) const fn area(index: usize) -> usize {
    index % AREAS.len()
}
